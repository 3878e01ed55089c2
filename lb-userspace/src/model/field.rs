//! Problems of an object's fields, collected so that all of them are shown at once.

use std::fmt;

/// One wrong field: where, what stands there, what is wrong with it, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}: {remedy} (found {value})")]
pub struct FieldError {
    /// `spec.listeners[1].port`.
    pub path: String,
    /// The offending value, as the user wrote it.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it, in the imperative.
    pub remedy: String,
}

/// The problems found so far.
#[derive(Default, Debug)]
pub struct Problems(Vec<FieldError>);

impl Problems {
    /// Adds a problem. The value is shown quoted if it is a text.
    pub fn add(
        &mut self,
        path: impl Into<String>,
        value: impl fmt::Debug,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let value = format!("{value:?}");
        self.0.push(FieldError { path: path.into(), value, problem: problem.into(), remedy: remedy.into() });
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The checked value, or the problems: never a value beside a problem.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn result<T>(self, checked: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(checked) } else { Err(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_place_value_and_remedy() {
        let mut problems = Problems::default();
        problems.add("spec.listeners[1].port", 70_000, "not a port", "use 1 to 65535");
        let errors = problems.result(()).unwrap_err();
        assert_eq!(errors[0].to_string(), "spec.listeners[1].port: not a port: use 1 to 65535 (found 70000)");
    }
}
