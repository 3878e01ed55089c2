//! The user's editor, on a file that outlives what goes wrong.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The editor of a system that names none.
const DEFAULT: &str = "vi";

/// A text in a file of its own.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    /// The beginning of its name.
    name: String,
    /// As it was before anybody edited it.
    first: String,
}

impl Draft {
    /// Writes the text into a new file that nobody else may read.
    pub(super) fn create(name: &str, text: &str) -> anyhow::Result<Self> {
        let legal: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect();
        let name = format!("lb-edit-{legal}");
        Ok(Self { path: written_file(&name, text)?, name, first: text.to_owned() })
    }

    /// Replaces the text. The one before is there until the new one is: the file system may be full.
    pub(super) fn write(&self, text: &str) -> anyhow::Result<()> {
        let new = written_file(&self.name, text)?;
        fs::rename(&new, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Has the user edit it, with this editor or the system's. Gives what it is then.
    pub(super) async fn edit(&self, editor: Option<&str>) -> anyhow::Result<String> {
        let named = |name| env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let editor = editor.map(ToOwned::to_owned).or_else(|| named("VISUAL"));
        let editor = editor.or_else(|| named("EDITOR")).unwrap_or_else(|| DEFAULT.to_owned());
        // It may be a program with arguments, as it is for everybody else who reads these variables.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&self.path);
        // The editor starts with the defaults: only signals that are ignored are passed on.
        let _unheard = Interrupts::listen()?;
        let ended =
            tokio::task::spawn_blocking(move || command.status()).await.context("the editor is lost")?;
        let status = ended.with_context(|| format!("cannot start the editor {editor:?}"))?;
        ensure!(
            status.success(),
            "the editor {editor:?} ended with {status}: nothing is changed; set EDITOR to another"
        );
        fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Whether there is something in it that the user would miss: also what is no text, or can't be read.
    pub(super) fn is_touched(&self) -> bool {
        match fs::read(&self.path) {
            Ok(bytes) => bytes != self.first.as_bytes(),
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }

    /// Where it is, for people.
    pub(super) fn whereabouts(&self) -> String {
        format!("not changed; your text is kept in {}", self.path.display())
    }

    /// Removes the file.
    pub(super) fn discard(&self) {
        // One that is left behind harms nobody.
        drop(fs::remove_file(&self.path));
    }
}

/// Ctrl-C and its like, which a terminal sends to the editor and to whoever has started it. Once they have been
/// listened to, they end this process no more.
pub(super) struct Interrupts {
    interrupt: Signal,
    quit: Signal,
}

impl Interrupts {
    /// Those from now on.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, quit: listen(SignalKind::quit())? })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// A new file with this text. It is gone if not all of it can be written.
fn written_file(name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let (mut file, path) = new_file(name)?;
    if let Err(error) = file.write_all(text.as_bytes()) {
        drop(fs::remove_file(&path));
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(path)
}

/// A file for this user alone, whose name nobody has: earlier drafts may be there.
fn new_file(name: &str) -> anyhow::Result<(File, PathBuf)> {
    for number in 1_u32.. {
        let path = env::temp_dir().join(format!("{name}-{number}.yaml"));
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
    bail!("cannot create a file in {}: all names are taken", env::temp_dir().display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_draft_that_is_no_text_any_more_is_kept() {
        let draft = Draft::create("latin", "name: x\n").unwrap();
        assert!(!draft.is_touched());
        let error = draft.edit(Some(r"printf 'name: caf\351\n' >")).await.unwrap_err();
        assert!(format!("{error:#}").contains("UTF-8"), "{error:#}");
        assert!(draft.is_touched());
        draft.discard();
        assert!(!draft.is_touched(), "nothing is left to miss");
        fs::create_dir(&draft.path).unwrap();
        assert!(draft.is_touched(), "nobody knows what is in it");
        fs::remove_dir(&draft.path).unwrap();
    }

    #[test]
    fn the_text_before_is_whole_until_the_next_one_is() {
        let draft = Draft::create("whole", "before").unwrap();
        let before = draft.path.with_extension("before");
        fs::hard_link(&draft.path, &before).unwrap();
        draft.write("after").unwrap();
        assert_eq!(fs::read_to_string(&draft.path).unwrap(), "after");
        assert_eq!(fs::read_to_string(&before).unwrap(), "before", "it is replaced, not overwritten");
        fs::remove_file(&before).unwrap();
        draft.discard();
    }
}
