//! Errors: what the server replies, and what happens on the way to it.

use std::time::Duration;

use fred::error::{Error as FredError, ErrorKind as FredKind};
use statehouse_contracts::{Error, ErrorKind, Retry};

/// How soon a server that says it is busy with itself may be asked again.
const SOON: Duration = Duration::from_millis(100);

/// The error of `operation`; `mutates` tells whether a lost answer leaves its outcome open.
pub(crate) fn map(operation: &'static str, error: FredError, mutates: bool) -> Error {
    let mapped = match reply(error.details()) {
        Some(mapped) => mapped,
        None => on_the_way(&error, mutates),
    };
    mapped
        .with_operation(operation)
        .with_source(error.details().to_owned())
}

/// The error of a reply of the server, which begins with a word in capitals. A command that is
/// refused so has done nothing; a script is refused at its first write.
fn reply(details: &str) -> Option<Error> {
    let word = details.split_whitespace().next().unwrap_or_default();
    let unavailable = |why| Error::new(ErrorKind::Unavailable, why).with_retry(Retry::After(SOON));
    let error = match word {
        "READONLY" => unavailable("the server is a replica and takes no writes"),
        "LOADING" => unavailable("the server is loading its data"),
        "MASTERDOWN" => unavailable("the replica has lost its primary"),
        "MISCONF" => unavailable("the server cannot persist and takes no writes"),
        "NOREPLICAS" => unavailable("too few replicas are in reach and the server takes no writes"),
        "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => {
            unavailable("the part of the cluster that holds the namespace is not ready")
        }
        "BUSY" => Error::new(
            ErrorKind::Overloaded,
            "the server is busy with a long script",
        )
        .with_retry(Retry::After(SOON)),
        "OOM" => Error::new(
            ErrorKind::QuotaExceeded,
            "the server's memory is full; raise its maxmemory or free something",
        ),
        "NOAUTH" | "WRONGPASS" => Error::new(
            ErrorKind::PermissionDenied,
            "the server does not accept the credentials",
        ),
        "NOPERM" => not_permitted(details.trim_start_matches("NOPERM ")),
        "WRONGTYPE" => Error::new(
            ErrorKind::Corrupted,
            "a key of this installation holds something else; does another program use its prefix?",
        ),
        "ERR" | "NOSCRIPT" | "CROSSSLOT" | "EXECABORT" | "UNKILLABLE" | "NOGROUP" | "BUSYGROUP" => {
            refused(details)
        }
        _ => return None,
    };
    Some(error)
}

/// What the server says of a right that its user lacks: a command, a key, a channel.
fn not_permitted(what: &str) -> Error {
    let message = format!("the server's user lacks a right: {what}");
    Error::new(ErrorKind::PermissionDenied, message)
}

/// A reply that says no more than that the command was refused.
fn refused(details: &str) -> Error {
    let lower = details.to_ascii_lowercase();
    if let Some((_, what)) = details.split_once("ACL failure in script: ") {
        return not_permitted(what);
    }
    if lower.contains("the user executing the script") {
        return not_permitted(details.trim_start_matches("ERR "));
    }
    if lower.contains("max number of clients") {
        Error::new(ErrorKind::Overloaded, "the server has no connection left")
            .with_retry(Retry::After(SOON))
    } else if lower.contains("auth") && lower.contains("password") {
        Error::new(
            ErrorKind::PermissionDenied,
            "the server does not accept the credentials",
        )
    } else if lower.contains("out of memory") {
        Error::new(
            ErrorKind::QuotaExceeded,
            "the server's memory is full; raise its maxmemory or free something",
        )
    } else {
        Error::internal("the server refused the command")
    }
}

/// The error of a command that got no reply.
fn on_the_way(error: &FredError, mutates: bool) -> Error {
    let unavailable = |why| Error::new(ErrorKind::Unavailable, why);
    match error.kind() {
        FredKind::Timeout => {
            unavailable("the server did not answer in time").with_ambiguous(mutates)
        }
        // The command was not sent: there was no connection.
        FredKind::Canceled | FredKind::Routing | FredKind::Cluster | FredKind::Sentinel => {
            unavailable("the server cannot be reached")
        }
        FredKind::Unknown if not_sent(error.details()) => {
            unavailable("the server cannot be reached")
        }
        FredKind::IO | FredKind::Tls if is_untrusted(error.details()) => Error::new(
            ErrorKind::PermissionDenied,
            "the server's certificate is not accepted; tls_ca names the file of the authority to \
             trust",
        ),
        FredKind::IO | FredKind::Tls if is_distrusted(error.details()) => Error::new(
            ErrorKind::PermissionDenied,
            "the server does not accept this client's certificate; tls_cert and tls_key name it",
        ),
        FredKind::IO => unavailable("the connection was lost").with_ambiguous(mutates),
        FredKind::Backpressure => Error::new(ErrorKind::Overloaded, "too many commands at once"),
        FredKind::Auth => Error::new(
            ErrorKind::PermissionDenied,
            "the server does not accept the credentials",
        ),
        FredKind::Tls => unavailable("no TLS connection can be made"),
        FredKind::Config | FredKind::Url => Error::invalid("the server cannot be used so"),
        FredKind::Protocol | FredKind::Parse | FredKind::NotFound => {
            Error::internal("the server's answer makes no sense").with_ambiguous(mutates)
        }
        _ => Error::internal("the command failed").with_ambiguous(mutates),
    }
}

/// Whether the server's certificate is refused here.
fn is_untrusted(details: &str) -> bool {
    details.contains("InvalidCertificate(") || details.contains("invalid peer certificate")
}

/// Whether this client's certificate, or that it has none, is refused there.
fn is_distrusted(details: &str) -> bool {
    let alert = details.split_once("AlertReceived(").map(|(_, alert)| alert);
    alert.is_some_and(|alert| alert.contains("Certificate") || alert.starts_with("UnknownCA"))
}

/// What the client says when it had nowhere to send the command.
fn not_sent(details: &str) -> bool {
    [
        "Failed to route command",
        "Client is not initialized",
        "Failed to send command to router",
    ]
    .iter()
    .any(|text| details.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_has_its_kind_and_has_done_nothing() {
        use ErrorKind::*;
        let table: [(ErrorKind, bool, &[&str]); 6] = [
            (
                Unavailable,
                true,
                &[
                    "READONLY You can't write against a read only replica.",
                    "LOADING Redis is loading the dataset in memory",
                    "MASTERDOWN Link with MASTER is down",
                    "MISCONF Redis is configured to save RDB snapshots",
                    "NOREPLICAS Not enough good replicas to write.",
                    "CLUSTERDOWN The cluster is down",
                    "TRYAGAIN Multiple keys request during rehashing",
                ],
            ),
            (
                Overloaded,
                true,
                &[
                    "BUSY Redis is busy running a script.",
                    "ERR max number of clients reached",
                ],
            ),
            (
                QuotaExceeded,
                false,
                &[
                    "OOM command not allowed when used memory > 'maxmemory'.",
                    "ERR Out of memory",
                ],
            ),
            (
                PermissionDenied,
                false,
                &[
                    "NOAUTH Authentication required.",
                    "WRONGPASS invalid username-password pair",
                    "ERR AUTH <password> called without any password",
                    "NOPERM this user has no permissions to run the 'eval' command",
                    "ERR ACL failure in script: this user has no permissions to run the 'xadd' command",
                    "ERR The user executing the script can't run this command or subcommand",
                ],
            ),
            (
                Corrupted,
                false,
                &["WRONGTYPE Operation against a key holding the wrong kind of value"],
            ),
            (
                Internal,
                false,
                &[
                    "NOSCRIPT No matching script.",
                    "CROSSSLOT Keys in request don't hash to the same slot",
                    "ERR unknown command 'FOO'",
                ],
            ),
        ];
        let replies = table.iter().flat_map(|(kind, retryable, replies)| {
            replies
                .iter()
                .map(move |details| (*details, *kind, *retryable))
        });
        for (details, kind, retryable) in replies {
            let error = map("apply", FredError::new(FredKind::Unknown, details), true);
            assert_eq!(error.kind(), kind, "{details}");
            assert_eq!(error.retry() != Retry::Never, retryable, "{details}");
            assert!(!error.is_ambiguous(), "{details}");
            assert_eq!(error.operation(), Some("apply"));
        }
    }

    #[test]
    fn what_got_no_reply_is_ambiguous_only_if_it_was_sent_and_mutates() {
        use ErrorKind::*;
        let table = [
            (FredKind::Timeout, "Request timed out.", Unavailable, true),
            (FredKind::IO, "Connection closed.", Unavailable, true),
            (
                FredKind::Canceled,
                "Connection closed unexpectedly.",
                Unavailable,
                false,
            ),
            (
                FredKind::Unknown,
                "Failed to route command.",
                Unavailable,
                false,
            ),
            (
                FredKind::Unknown,
                "Client is not initialized.",
                Unavailable,
                false,
            ),
            (
                FredKind::Sentinel,
                "no sentinel answers",
                Unavailable,
                false,
            ),
            (FredKind::Tls, "bad certificate", Unavailable, false),
            (
                FredKind::IO,
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
                PermissionDenied,
                false,
            ),
            (
                FredKind::IO,
                "Custom { kind: InvalidData, error: AlertReceived(CertificateRequired) }",
                PermissionDenied,
                false,
            ),
            (FredKind::Backpressure, "full", Overloaded, false),
            (FredKind::Config, "no cluster", InvalidArgument, false),
            (FredKind::Parse, "no number", Internal, true),
        ];
        for (native, details, kind, ambiguous) in table {
            for mutates in [false, true] {
                let error = map("get", FredError::new(native.clone(), details), mutates);
                assert_eq!(error.kind(), kind, "{native:?}");
                assert_eq!(error.is_ambiguous(), ambiguous && mutates, "{native:?}");
            }
        }
    }
}
