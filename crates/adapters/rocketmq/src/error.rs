//! The client's and the broker's errors in the words of the contracts.

use std::time::Duration;

use rocketmq_client_rust::ClientError;
use statehouse_contracts::{Error, ErrorKind, Retry};

/// How long to leave a broker alone that says it is busy.
const BUSY: Duration = Duration::from_millis(100);

/// The broker's response codes that the adapter looks at.
pub(crate) mod code {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const SYSTEM_ERROR: i32 = 1;
    pub(crate) const SYSTEM_BUSY: i32 = 2;
    pub(crate) const NOT_SUPPORTED: i32 = 3;
    pub(crate) const FLUSH_DISK_TIMEOUT: i32 = 10;
    pub(crate) const REPLICA_NOT_AVAILABLE: i32 = 11;
    pub(crate) const FLUSH_REPLICA_TIMEOUT: i32 = 12;
    pub(crate) const MESSAGE_ILLEGAL: i32 = 13;
    pub(crate) const SERVICE_NOT_AVAILABLE: i32 = 14;
    pub(crate) const NO_PERMISSION: i32 = 16;
    pub(crate) const TOPIC_NOT_EXIST: i32 = 17;
    pub(crate) const NOT_FOUND: i32 = 22;
    pub(crate) const GROUP_NOT_EXIST: i32 = 26;
    pub(crate) const INVALID_PARAMETER: i32 = 29;
    pub(crate) const FLOW_CONTROL: i32 = 215;
    pub(crate) const ILLEGAL_OPERATION: i32 = 604;
    pub(crate) const GO_AWAY: i32 = 1500;
}

/// What a refusal of the broker means: its kind, and whether the request may have been applied.
fn meaning(code: i32) -> (ErrorKind, bool) {
    match code {
        code::SYSTEM_BUSY | code::FLOW_CONTROL => (ErrorKind::Overloaded, false),
        // The message is stored, and will be as safe as asked for once the disk or replica answers.
        code::FLUSH_DISK_TIMEOUT | code::REPLICA_NOT_AVAILABLE | code::FLUSH_REPLICA_TIMEOUT => {
            (ErrorKind::Unavailable, true)
        }
        code::SERVICE_NOT_AVAILABLE | code::GO_AWAY => (ErrorKind::Unavailable, false),
        code::MESSAGE_ILLEGAL | code::INVALID_PARAMETER => (ErrorKind::InvalidArgument, false),
        code::NO_PERMISSION => (ErrorKind::PermissionDenied, false),
        code::TOPIC_NOT_EXIST | code::NOT_FOUND | code::GROUP_NOT_EXIST => {
            (ErrorKind::NotFound, false)
        }
        code::NOT_SUPPORTED | code::ILLEGAL_OPERATION => (ErrorKind::Unsupported, false),
        code::SYSTEM_ERROR => (ErrorKind::Internal, false),
        _ => (ErrorKind::Internal, true),
    }
}

/// The error of a request that the broker refused with `code`.
pub(crate) fn refused(operation: &'static str, code: i32, remark: &str) -> Error {
    let (kind, ambiguous) = meaning(code);
    // The broker's remarks carry a link to its documentation after a line break.
    let remark = remark.lines().next().unwrap_or_default();
    let error = Error::new(kind, format!("RocketMQ answers {code}: {remark}"))
        .with_operation(operation)
        .with_ambiguous(ambiguous);
    match kind {
        ErrorKind::Overloaded => error.with_retry(Retry::After(BUSY)),
        _ => error,
    }
}

/// The kind of a failure of the client, by its code, and whether the request may have been applied.
fn client_meaning(code: &str, phase: Option<&str>) -> (ErrorKind, bool) {
    match code {
        "transport.admission.queue_saturated" | "transport.remote.rate_limited" => {
            (ErrorKind::Overloaded, false)
        }
        "transport.connection.failed" => (
            ErrorKind::Unavailable,
            !matches!(phase, Some("connect" | "before_write")),
        ),
        "transport.connection.timeout" | "transport.dns.failed" | "transport.endpoint.invalid" => {
            (ErrorKind::Unavailable, false)
        }
        "core.operation.timed_out" | "transport.response.timeout" | "transport.write.timeout" => {
            (ErrorKind::Timeout, true)
        }
        "core.argument.invalid" => (ErrorKind::InvalidArgument, false),
        "client.lifecycle.not_started" | "client.lifecycle.shutting_down" => {
            (ErrorKind::Unavailable, false)
        }
        _ if code.starts_with("transport.") => (ErrorKind::Unavailable, true),
        _ if code.starts_with("auth.") => (ErrorKind::PermissionDenied, false),
        _ if code.starts_with("route.") => (ErrorKind::Unavailable, false),
        _ => (ErrorKind::Internal, true),
    }
}

/// A failure of the client in the words of the contracts.
pub(crate) fn map(operation: &'static str, native: &ClientError) -> Error {
    if let Some(code) = native.broker_response_code() {
        return refused(operation, code, &native.to_string());
    }
    let code = native.descriptor().code().as_str();
    let phase = native.shared_error().to_string();
    let phase = ["connect", "before_write"]
        .into_iter()
        .find(|name| phase.contains(name));
    let (kind, ambiguous) = client_meaning(code, phase);
    Error::new(kind, format!("{native} ({code})"))
        .with_operation(operation)
        .with_ambiguous(ambiguous)
}

/// Whether the connection is suspect after this error, and a new one is worth its while.
pub(crate) fn breaks_connection(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_kind() {
        let table = [
            (code::SYSTEM_BUSY, ErrorKind::Overloaded, false),
            (code::FLOW_CONTROL, ErrorKind::Overloaded, false),
            (code::FLUSH_DISK_TIMEOUT, ErrorKind::Unavailable, true),
            (code::FLUSH_REPLICA_TIMEOUT, ErrorKind::Unavailable, true),
            (code::REPLICA_NOT_AVAILABLE, ErrorKind::Unavailable, true),
            (code::SERVICE_NOT_AVAILABLE, ErrorKind::Unavailable, false),
            (code::GO_AWAY, ErrorKind::Unavailable, false),
            (code::MESSAGE_ILLEGAL, ErrorKind::InvalidArgument, false),
            (code::INVALID_PARAMETER, ErrorKind::InvalidArgument, false),
            (code::NO_PERMISSION, ErrorKind::PermissionDenied, false),
            (code::TOPIC_NOT_EXIST, ErrorKind::NotFound, false),
            (code::GROUP_NOT_EXIST, ErrorKind::NotFound, false),
            (code::NOT_FOUND, ErrorKind::NotFound, false),
            (code::NOT_SUPPORTED, ErrorKind::Unsupported, false),
            (code::ILLEGAL_OPERATION, ErrorKind::Unsupported, false),
            (code::SYSTEM_ERROR, ErrorKind::Internal, false),
            (9_999, ErrorKind::Internal, true),
        ];
        for (code, kind, ambiguous) in table {
            let error = refused("send", code, "why\nSee https://…");
            assert_eq!(
                (error.kind(), error.is_ambiguous()),
                (kind, ambiguous),
                "{code}"
            );
            assert!(!error.to_string().contains("https"), "{error}");
        }
    }

    #[test]
    fn each_failure_of_the_client_has_its_kind() {
        let table = [
            (
                "transport.admission.queue_saturated",
                None,
                ErrorKind::Overloaded,
                false,
            ),
            (
                "transport.connection.failed",
                Some("connect"),
                ErrorKind::Unavailable,
                false,
            ),
            (
                "transport.connection.failed",
                None,
                ErrorKind::Unavailable,
                true,
            ),
            (
                "transport.connection.timeout",
                None,
                ErrorKind::Unavailable,
                false,
            ),
            ("transport.dns.failed", None, ErrorKind::Unavailable, false),
            (
                "transport.session.failed",
                None,
                ErrorKind::Unavailable,
                true,
            ),
            ("core.operation.timed_out", None, ErrorKind::Timeout, true),
            ("transport.response.timeout", None, ErrorKind::Timeout, true),
            (
                "core.argument.invalid",
                None,
                ErrorKind::InvalidArgument,
                false,
            ),
            (
                "client.lifecycle.shutting_down",
                None,
                ErrorKind::Unavailable,
                false,
            ),
            (
                "auth.operation.failed",
                None,
                ErrorKind::PermissionDenied,
                false,
            ),
            ("core.internal.failure", None, ErrorKind::Internal, true),
        ];
        for (code, phase, kind, ambiguous) in table {
            assert_eq!(client_meaning(code, phase), (kind, ambiguous), "{code}");
        }
    }

    #[test]
    fn the_clients_own_errors_are_known() {
        let timeout = map("send", &ClientError::timeout("send", 3000));
        assert_eq!(timeout.kind(), ErrorKind::Timeout);
        let refused = ClientError::broker_operation_failed("pop", 26, "no group");
        assert_eq!(map("pop", &refused).kind(), ErrorKind::NotFound);
        let stopped = map("send", &ClientError::not_started());
        assert_eq!(stopped.kind(), ErrorKind::Unavailable);
    }
}
