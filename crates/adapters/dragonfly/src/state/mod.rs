//! State: records with their versions, the change log, the outbox.
