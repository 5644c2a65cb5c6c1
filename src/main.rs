//! The bandsaw command line.

fn main() {
    for info in bandsaw::Device::all() {
        println!("{} {} {}", info.id, info.name, info.backend);
    }
}
