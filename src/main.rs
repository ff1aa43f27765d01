//! The `vdb` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    vdb::cli::main()
}
