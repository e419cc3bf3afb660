//! Exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a defect, or something without a code of its own |
//! | 2 | the command line, an argument or the configuration is wrong |
//! | 3 | there is no such thing, or it was pruned |
//! | 4 | a precondition does not hold, or the name is taken |
//! | 5 | the lease is lost, or the task was cancelled |
//! | 6 | the service or backend cannot be reached, is full, closed or too slow: try again |
//! | 7 | not allowed |
//! | 8 | this backend or build cannot do it |
//! | 9 | a quota is full |
//! | 10 | stored data is damaged, or a check of what was written failed |
//! | 130 | interrupted |

use statehouse_contracts::ErrorKind;

/// The exit code of an error of this kind.
pub fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidArgument => 2,
        ErrorKind::NotFound | ErrorKind::Pruned => 3,
        ErrorKind::Conflict => 4,
        ErrorKind::LeaseLost | ErrorKind::Cancelled => 5,
        ErrorKind::Overloaded
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Closed
        | ErrorKind::CursorLost => 6,
        ErrorKind::PermissionDenied => 7,
        ErrorKind::Unsupported => 8,
        ErrorKind::QuotaExceeded => 9,
        ErrorKind::Corrupted => 10,
        _ => 1,
    }
}
