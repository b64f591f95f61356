//! The narthex program: see `narthex --help`.
#![forbid(unsafe_code)]

// Measured against glibc's: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::cli::main()
}
