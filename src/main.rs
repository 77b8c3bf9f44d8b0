//! Boot only: everything else is in the library, where tests reach it.

use std::process::ExitCode;

/// The engine makes and drops small texts all the time: allocation was a fifth of what a simulated cluster costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    volwarden::cli::main()
}
