//! What a machine says: its kernel's complaints, and lines `guest: KEY: VALUE` of the program that tells the story.

/// What the lines of the story begin with.
const PREFIX: &str = "guest: ";

/// The key of the last line, whose value is [`PASSED`] or what went wrong.
const OUTCOME: &str = "outcome";
const PASSED: &str = "passed";

/// Says something, from inside.
pub fn say(key: &str, value: &str) {
    // A serial console is slow and has one line at a time.
    println!("{PREFIX}{key}: {}", value.replace('\n', " | "));
}

/// Says how it ended, from inside.
pub fn conclude(outcome: Result<(), String>) {
    say(OUTCOME, outcome.as_ref().err().map_or(PASSED, String::as_str));
}

/// All that was said.
#[derive(Clone, Debug)]
pub struct Transcript(String);

impl Transcript {
    /// Of the console's text.
    pub fn new(console: String) -> Self {
        Self(console)
    }

    /// The first value of a key, if the story said one.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).next()
    }

    /// All values of a key, in their order.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        // The firmware leaves its own words at the beginning of the first line.
        let told = self.0.lines().filter_map(|line| line.split_once(PREFIX)?.1.split_once(": "));
        told.filter(move |(word, _)| *word == key).map(|(_, value)| value.trim_end())
    }

    /// Has the story ended well?
    ///
    /// # Errors
    /// All that the machine said, if it has not.
    pub fn outcome(&self) -> Result<(), String> {
        if self.value(OUTCOME) == Some(PASSED) {
            return Ok(());
        }
        Err(format!("the machine said:\n{}", self.0))
    }

    /// The story has to have ended well.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn passed(&self) {
        if let Err(said) = self.outcome() {
            panic!("{said}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_found_among_the_kernels_words() {
        let said = "\u{1b}[2Jguest: kernel: 6.1.0\r\n[  4.1] BUG: none\r\nguest: outcome: passed\r\n";
        let transcript = Transcript::new(said.to_owned());
        assert_eq!(transcript.value("kernel"), Some("6.1.0"));
        assert_eq!(transcript.value("BUG"), None);
        transcript.passed();
    }

    #[test]
    #[should_panic(expected = "the verifier refused")]
    fn a_story_that_went_wrong_has_not_passed() {
        Transcript::new("guest: outcome: the verifier refused\n".to_owned()).passed();
    }

    #[test]
    #[should_panic(expected = "Kernel panic")]
    fn a_machine_that_ended_before_its_story_has_not_passed() {
        Transcript::new("guest: kernel: 6.1.0\nKernel panic - not syncing\n".to_owned()).passed();
    }
}
