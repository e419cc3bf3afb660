//! The client's and the broker's errors in the words of the contracts.

use std::time::Duration;

use rocketmq_transport::api::{
    OutboundRequestContract, OutboundRequestRejection, OutboundRequestRejectionReason,
    OutboundRequestStage, TransportError,
};
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

/// The kind of a failure of the transport, by its code.
fn transport_kind(code: &str) -> ErrorKind {
    match code {
        "transport.admission.queue_saturated" | "transport.remote.rate_limited" => {
            ErrorKind::Overloaded
        }
        "core.operation.timed_out" | "transport.response.timeout" | "transport.write.timeout" => {
            ErrorKind::Timeout
        }
        "core.argument.invalid" | "core.configuration.invalid" => ErrorKind::InvalidArgument,
        "client.lifecycle.not_started" | "client.lifecycle.shutting_down" => ErrorKind::Unavailable,
        _ if code.starts_with("transport.") => ErrorKind::Unavailable,
        _ if code.starts_with("auth.") => ErrorKind::PermissionDenied,
        _ => ErrorKind::Internal,
    }
}

/// Whether a request that ended at this stage may have been applied.
fn may_be_applied(stage: Option<OutboundRequestStage>) -> bool {
    stage != Some(OutboundRequestStage::BeforeWrite)
}

/// A failure of the transport in the words of the contracts.
pub(crate) fn map(operation: &'static str, native: &TransportError) -> Error {
    let code = native.code();
    let code = code.as_str();
    Error::new(transport_kind(code), format!("{native} ({code})"))
        .with_operation(operation)
        .with_ambiguous(may_be_applied(native.request_stage()))
}

/// The kind of a request that the transport did not see through.
fn rejection_kind(reason: OutboundRequestRejectionReason) -> ErrorKind {
    match reason {
        OutboundRequestRejectionReason::DeadlineExpired => ErrorKind::Timeout,
        OutboundRequestRejectionReason::QueueSaturated => ErrorKind::Overloaded,
        OutboundRequestRejectionReason::Cancelled
        | OutboundRequestRejectionReason::ClientStopping
        | OutboundRequestRejectionReason::SessionClosed
        | OutboundRequestRejectionReason::EndpointUnavailable => ErrorKind::Unavailable,
    }
}

/// The error of a request that the transport did not see through.
pub(crate) fn rejected(operation: &'static str, why: &OutboundRequestRejection) -> Error {
    let what = match why.reason() {
        OutboundRequestRejectionReason::DeadlineExpired => "the server did not answer in time",
        OutboundRequestRejectionReason::QueueSaturated => "too many requests are under way",
        OutboundRequestRejectionReason::Cancelled
        | OutboundRequestRejectionReason::ClientStopping
        | OutboundRequestRejectionReason::SessionClosed => "the connection was closed",
        OutboundRequestRejectionReason::EndpointUnavailable => "the server cannot be reached",
    };
    let error = Error::new(rejection_kind(why.reason()), what)
        .with_operation(operation)
        .with_ambiguous(may_be_applied(Some(why.stage())));
    match error.kind() {
        ErrorKind::Overloaded => error.with_retry(Retry::After(BUSY)),
        _ => error,
    }
}

/// The error of a request that waited for an answer when its connection was closed.
pub(crate) fn lost(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection was closed").with_operation(operation)
}

/// The error of a request that breaks a rule of the transport: a mistake of this adapter.
pub(crate) fn broken(operation: &'static str, why: &OutboundRequestContract) -> Error {
    Error::internal(format!(
        "RocketMQ's transport refuses a request: {:?}",
        why.reason()
    ))
    .with_operation(operation)
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
    fn each_failure_of_the_transport_has_its_kind() {
        let table = [
            ("transport.admission.queue_saturated", ErrorKind::Overloaded),
            ("transport.remote.rate_limited", ErrorKind::Overloaded),
            ("transport.connection.failed", ErrorKind::Unavailable),
            ("transport.connection.timeout", ErrorKind::Unavailable),
            ("transport.dns.failed", ErrorKind::Unavailable),
            ("transport.session.failed", ErrorKind::Unavailable),
            ("core.operation.timed_out", ErrorKind::Timeout),
            ("transport.response.timeout", ErrorKind::Timeout),
            ("core.argument.invalid", ErrorKind::InvalidArgument),
            ("core.configuration.invalid", ErrorKind::InvalidArgument),
            ("client.lifecycle.shutting_down", ErrorKind::Unavailable),
            ("auth.operation.failed", ErrorKind::PermissionDenied),
            ("core.internal.failure", ErrorKind::Internal),
        ];
        for (code, kind) in table {
            assert_eq!(transport_kind(code), kind, "{code}");
        }
    }

    #[test]
    fn each_rejection_has_its_kind() {
        use OutboundRequestRejectionReason as Reason;
        let table = [
            (Reason::DeadlineExpired, ErrorKind::Timeout),
            (Reason::QueueSaturated, ErrorKind::Overloaded),
            (Reason::Cancelled, ErrorKind::Unavailable),
            (Reason::ClientStopping, ErrorKind::Unavailable),
            (Reason::SessionClosed, ErrorKind::Unavailable),
            (Reason::EndpointUnavailable, ErrorKind::Unavailable),
        ];
        for (reason, kind) in table {
            assert_eq!(rejection_kind(reason), kind, "{reason:?}");
        }
    }

    #[test]
    fn only_what_was_not_written_was_surely_not_applied() {
        use OutboundRequestStage as Stage;
        assert!(!may_be_applied(Some(Stage::BeforeWrite)));
        for stage in [
            Some(Stage::Writing),
            Some(Stage::AwaitingResponse),
            Some(Stage::ResponseReceived),
            None,
        ] {
            assert!(may_be_applied(stage), "{stage:?}");
        }
    }
}
