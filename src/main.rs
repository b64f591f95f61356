//! The narthex program: see `narthex --help`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    narthex::cli::main()
}
