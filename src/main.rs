//! The narthex program: see `narthex --help`.
#![forbid(unsafe_code)]

// Measured against glibc's: docs/performance.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    narthex::main()
}
