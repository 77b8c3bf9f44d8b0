//! `volwarden completions`: scripts that teach a shell our commands.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliError, Outcome, output};

#[derive(Args, Clone, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn print(args: &CompletionsArgs) -> Result<Outcome, CliError> {
    // Into memory first: the generator panics when its writer fails, and `| head` makes it fail.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "volwarden", &mut script);
    output::answer(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}
