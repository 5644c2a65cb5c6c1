// Compiles and runs the launches in a folder, which tests/interpreter wrote, through Dawn and its WGSL compiler
// Tint, under WebGPU's default limits: node run.mjs PACKAGES FOLDER. See scripts/tint.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [packages, folder] = process.argv.slice(2);
const found = createRequire(join(packages, 'package.json')).resolve('webgpu');
const { create, globals } = await import(pathToFileURL(found));
Object.assign(globalThis, globals);

// Without a Vulkan driver (or Metal, or D3D12) shaders are only checked.
let gpu = create([]);
let adapter = await gpu.requestAdapter();
const runs = adapter !== null;
if (!runs) {
    gpu = create(['backend=null']);
    adapter = await gpu.requestAdapter();
}
const device = await adapter.requestDevice();
let faults = 0;
const fault = (text) => {
    faults++;
    console.log(text);
};
device.addEventListener('uncapturederror', (event) => fault(event.error.message));

async function compile(variant, name) {
    const module = device.createShaderModule({ code: variant.source, label: name });
    const { messages } = await module.getCompilationInfo();
    for (const { type, lineNum, linePos, message } of messages) {
        const text = `${name}:${lineNum}:${linePos}: ${type}: ${message}`;
        if (type === 'info') console.log(text);
        else fault(text);
    }
    // As the library binds: inputs are read, outputs written.
    const { inputs, before, params } = variant.launches[0];
    const buffers = ['uniform', ...inputs.map(() => 'read-only-storage'), ...before.map(() => 'storage')];
    const entries = buffers.map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: type === 'uniform' ? { type, minBindingSize: params.length * 4 } : { type },
    }));
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
    const compute = { module, constants: variant.constants };
    return device.createComputePipelineAsync({ label: name, layout, compute });
}

function upload(words, usage) {
    const buffer = device.createBuffer({ size: Math.max(words.length * 4, 4), usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange(), 0, words.length).set(words);
    buffer.unmap();
    return buffer;
}

// What a launch leaves in its outputs.
async function run(pipeline, { groups, params, inputs, before }) {
    const { UNIFORM, STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const outputs = before.map((words) => upload(words, STORAGE | COPY_SRC));
    const buffers = [upload(params, UNIFORM), ...inputs.map((words) => upload(words, STORAGE)), ...outputs];
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(groups);
    pass.end();
    const staging = outputs.map(({ size }) => device.createBuffer({ size, usage: MAP_READ | COPY_DST }));
    outputs.forEach((output, n) => encoder.copyBufferToBuffer(output, 0, staging[n], 0, output.size));
    device.queue.submit([encoder.finish()]);
    const results = [];
    for (const buffer of staging) {
        await buffer.mapAsync(GPUMapMode.READ);
        results.push(new Uint32Array(buffer.getMappedRange().slice(0)));
        buffer.destroy();
    }
    for (const buffer of buffers) buffer.destroy();
    return results;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);
const fromBits = (bits) => {
    word[0] = bits;
    return float[0];
};

// The first words that differ, if any do; relative to the largest.
function difference(got, wanted, isFloat, tolerance) {
    const sizes = wanted.map((bits) => Math.abs(fromBits(bits))).filter(Number.isFinite);
    const largest = sizes.reduce((x, y) => Math.max(x, y), 0);
    const close = (x, y) => x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= tolerance * largest;
    const same = (bits, n) => bits === got[n] || (isFloat && close(fromBits(got[n]), fromBits(bits)));
    const n = wanted.findIndex((bits, n) => !same(bits, n));
    const show = isFloat ? fromBits : (bits) => bits;
    return n < 0 ? null : `word ${n} is ${show(got[n])} and should be ${show(wanted[n])}`;
}

const files = readdirSync(folder).sort();
const kernels = new Set();
let launches = 0;
for (const file of files) {
    const variant = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    const name = [variant.kernel, ...Object.entries(variant.constants).map(([name, value]) => `${name}=${value}`)].join(' ');
    kernels.add(variant.kernel);
    let pipeline;
    try {
        pipeline = await compile(variant, name);
    } catch (error) {
        fault(`${name}: ${error.message}`);
        continue;
    }
    for (const launch of runs ? variant.launches : []) {
        launches++;
        for (const [n, got] of (await run(pipeline, launch)).entries()) {
            const text = difference(got, launch.wanted[n], variant.floats[n], variant.tolerance);
            if (text) fault(`${name}, output ${n}: ${text}`);
        }
    }
}
if (files.length === 0) fault(`no launches in ${folder}`);
const { description, architecture } = adapter.info;
const ran = runs ? `${launches} launches ran on ${architecture || description || 'a GPU'}` : 'nothing ran: no driver';
console.log(`Tint: ${kernels.size} kernels, ${files.length} with their constants, compiled; ${ran}; ${faults} faults`);
device.destroy();
process.exit(faults > 0 ? 1 : 0);
