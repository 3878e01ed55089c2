//! Programs that `cargo xtask setup` fetches and keeps in its cache, outside the tree.

use std::env;
use std::fs;
use std::path::PathBuf;

/// A program of the cache, such as `kubectl/kubectl`, or why there is none. The first part of the path names the
/// tool.
///
/// # Errors
/// When there is none; the text is for [`crate::skip::skip`].
pub fn cached(path: &str) -> Result<PathBuf, String> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = base.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("lb");
    let program = cache.join(path);
    if program.is_file() {
        return Ok(program);
    }
    let tool = path.split('/').next().unwrap_or(path);
    let why = fs::read_to_string(cache.join(format!("{tool}.missing")));
    Err(format!("no {tool}: {}", why.unwrap_or_else(|_| "run `cargo xtask setup`".to_owned()).trim()))
}
