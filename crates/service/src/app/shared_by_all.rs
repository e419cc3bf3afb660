//! A wall that the compiler does not look through.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What all threads may use. The compiler asks anew at each route whether they may, of everything
/// within, down to the last field; behind this wall it has asked once. Without it that question is
/// a sixth of compiling this crate.
///
/// Clones are the same value.
pub(crate) struct SharedByAll<T>(Arc<dyn Deref<Target = T> + Send + Sync>);

impl<T: Send + Sync + 'static> SharedByAll<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Box::new(value)))
    }
}

impl<T> Clone for SharedByAll<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for SharedByAll<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedByAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
