//! The program: arguments in, exit code out; everything between is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    pointsman::run::run(pointsman::args::parse())
}
