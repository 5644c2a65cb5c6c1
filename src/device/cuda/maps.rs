//! What is told to kernels that copy boxes of an array into shared memory (`shaders/shared/cluster.cuh`).

use std::ffi::CStr;

use cudarc::driver::{DriverError, result, sys};

/// The most that an entry takes.
pub(crate) const MAPS: usize = 2;

/// An input as lines of halves, as an entry wants it: the words of the symbol beside it.
#[derive(Clone, Copy)]
pub(crate) struct Map {
    /// Which input.
    pub input: u32,
    /// The word of `Params` with the length of a line.
    pub length: u32,
    /// Lines of a box.
    lines: u32,
}

/// Halves of a box's lines, which are 128 bytes.
const HALVES: u32 = 64;

/// The maps that the symbol of a module lists.
pub(crate) fn described(module: sys::CUmodule, symbol: &CStr) -> Result<[Option<Map>; MAPS], DriverError> {
    let (mut address, mut bytes) = (0, 0);
    let mut words = [[0u32; 3]; MAPS];
    // SAFETY: no more bytes are read than the symbol or the array has.
    unsafe {
        sys::cuModuleGetGlobal_v2(&mut address, &mut bytes, module, symbol.as_ptr()).result()?;
        result::memcpy_dtoh_sync(&mut words.as_flattened_mut()[..(bytes / 4).min(MAPS * 3)], address)?;
    }
    let map = |n: usize| (n * 12 < bytes).then(|| Map { input: words[n][0], length: words[n][1], lines: words[n][2] });
    Ok(std::array::from_fn(map))
}

impl Map {
    /// For an input of so many bytes there, with lines of `length` halves, a multiple of 8.
    pub fn encode(&self, address: u64, bytes: usize, length: u32) -> Result<sys::CUtensorMap, DriverError> {
        let stride = u64::from(length) * 2;
        let (sides, strides) = ([u64::from(length), bytes as u64 / stride.max(1)], [stride]);
        let (sides_of_box, steps) = ([HALVES, self.lines], [1, 1]);
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: the arrays have an element for each of two dimensions, strides one less; the driver writes the map.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                2,
                address as *mut std::ffi::c_void,
                sides.as_ptr(),
                strides.as_ptr(),
                sides_of_box.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
            .result()?;
        }
        Ok(map)
    }
}
