//! A pool beside the other stored pools (reference section 2.3: P4, P6, P8, P9 with decision D15).

use std::fmt;

use super::pool::{CheckedPool, meet};
use crate::model::field::{FieldError, Problems};
use crate::model::ip_pool::IpPool;

/// A stored pool that can't be read. It is ignored; the operator should repair it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokenPool {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub errors: Vec<FieldError>,
}

impl fmt::Display for BrokenPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        write!(f, "pool {} is ignored until it is repaired: {}", self.name, errors.join("; "))
    }
}

/// The pools that can't be read.
pub fn broken<'a>(stored: impl IntoIterator<Item = &'a IpPool>) -> impl Iterator<Item = BrokenPool> {
    stored.into_iter().filter_map(|pool| {
        let errors = pool.check_spec().err()?;
        Some(BrokenPool { name: pool.metadata.name.clone(), errors })
    })
}

/// Checks a pool on its own and beside the stored ones; a stored pool of the same name is its predecessor.
///
/// # Errors
/// All problems of `pool`.
pub fn check_pool<'a>(
    pool: &IpPool,
    stored: impl IntoIterator<Item = &'a IpPool>,
) -> Result<(CheckedPool, Vec<BrokenPool>), Vec<FieldError>> {
    let checked = pool.check()?;
    let mut problems = Problems::default();
    let mut broken = Vec::new();
    for other in stored {
        let name = &other.metadata.name;
        if *name == checked.name {
            continue;
        }
        match other.check_spec() {
            Ok(other) => check_beside(&checked, &other, &mut problems),
            Err(errors) => broken.push(BrokenPool { name: name.clone(), errors }),
        }
    }
    problems.result((checked, broken))
}

fn check_beside(pool: &CheckedPool, other: &CheckedPool, problems: &mut Problems) {
    for (index, range) in pool.ranges.iter().enumerate() {
        if let Some(taken) = other.ranges.iter().find(|taken| taken.span.overlaps(range.span)) {
            let problem = format!("overlaps {} of pool {}", taken.span, other.name);
            let remedy = "leave the common addresses to one of the two pools";
            problems.add(format!("spec.ranges[{index}]"), range.span.to_string(), problem, remedy);
        }
    }
    match (pool.is_global(), other.is_global()) {
        (true, true) => {
            let problem = format!("there is already a global pool, {}", other.name);
            let remedy = "add the ranges to that pool, or narrow the scope";
            problems.add("spec.selector.scope", ["*"; 3], problem, remedy);
        }
        (false, false) => check_rank(pool, other, problems),
        (true, false) | (false, true) => {}
    }
}

fn check_rank(pool: &CheckedPool, other: &CheckedPool, problems: &mut Problems) {
    if pool.priority != other.priority {
        return;
    }
    if pool.priority != 0 {
        let problem = format!("pool {} has the same priority", other.name);
        problems.add("spec.selector.priority", pool.priority, problem, "give another one, or 0 for none");
        return;
    }
    let same_network = pool.network == other.network;
    for (index, tuple) in pool.scope.iter().enumerate().filter(|_| same_network) {
        if other.scope.iter().any(|other| meet(other, tuple)) {
            let problem = format!("pool {} has the same scope, and neither has a priority", other.name);
            let path = format!("spec.selector.scope[{index}]");
            problems.add(path, tuple.parts(), problem, "narrow the scope, or give a priority");
        }
    }
}

#[cfg(test)]
mod tests;
