//! The conformance suite on the server at `TEST_DRAGONFLY_URL`.

use std::process::ExitCode;

use statehouse_conformance::{Expected, Setup};
use statehouse_dragonfly::DragonflyFactory;

fn main() -> ExitCode {
    let expected = Expected {
        producer: None,
        consumer: None,
        state: None,
        tasks: None,
        references: None,
    };
    Setup::new(DragonflyFactory, expected).persistent().main()
}
