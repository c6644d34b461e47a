//! The program: arguments in, exit code out; everything between is the library's.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pointsman::run::run(pointsman::args::parse())
}
