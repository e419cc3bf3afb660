//! What `log.level` lets through.

use super::Log;

impl Log {
    /// What a level is called.
    pub const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

    /// The parts of `level`: each a level, and for which target, or for all others.
    ///
    /// # Errors
    /// The first part that makes no sense; never of a configuration that was loaded.
    pub fn filter(&self) -> Result<Vec<(Option<&str>, &str)>, &str> {
        self.level
            .split(',')
            .map(|part| read(part.trim()))
            .collect()
    }
}

fn read(part: &str) -> Result<(Option<&str>, &str), &str> {
    let (target, level) = match part.split_once('=') {
        Some((target, level)) => (Some(target.trim()), level.trim()),
        None => (None, part),
    };
    let is_level = Log::LEVELS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(level));
    if is_level && target.is_none_or(is_target) {
        return Ok((target, level));
    }
    Err(part)
}

/// Whether this can be a path of modules; spans and fields are not understood.
fn is_target(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_:-.".contains(c);
    !text.is_empty() && text.chars().all(is_part)
}
