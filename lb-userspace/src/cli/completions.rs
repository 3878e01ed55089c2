//! `lb completions` and `lb man`: what shells and `man` need to know of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb completions bash > /usr/share/bash-completion/completions/lb
  lb completions zsh > /usr/local/share/zsh/site-functions/_lb
  lb completions fish > /usr/share/fish/vendor_completions.d/lb.fish
  source <(lb completions bash)")]
pub(super) struct Arguments {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let shell = match arguments.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut super::Arguments::command(), "lb", &mut script);
    String::from_utf8(script).context("cannot write the script")
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb man /usr/local/share/man/man1 && man lb-create")]
pub(super) struct Man {
    /// Where to write lb.1 and a page for each verb
    directory: PathBuf,
}

/// Writes the pages, and says how many.
pub(super) fn man(arguments: &Man) -> anyhow::Result<String> {
    let directory = arguments.directory.display();
    std::fs::create_dir_all(&arguments.directory)
        .and_then(|()| clap_mangen::generate_to(super::Arguments::command(), &arguments.directory))
        .with_context(|| format!("cannot write pages to {directory}"))?;
    Ok(format!("Pages written to {directory}: lb.1 and one for each verb\n"))
}
