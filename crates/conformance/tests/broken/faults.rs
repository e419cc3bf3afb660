//! The faults, and the cases that must tell them.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Accepts some messages and loses them.
    LosesMessages,
    /// Accepts each message twice.
    DoublesMessages,
    /// Takes a repeated idempotency key for a new one.
    IgnoresIdempotencyKeys,
    /// Takes messages of all priorities for equal.
    IgnoresPriorities,
    /// Takes messages of one ordering key for unrelated ones.
    IgnoresOrderingKeys,
    /// Hands messages out at once, whatever their delay.
    IgnoresDelays,
    /// Hands messages out however old they are.
    IgnoresExpiry,
    /// Hands out batches in the wrong order.
    ReversesBatches,
    /// Counts every delivery as the first.
    ForgetsAttempts,
    /// Takes any settle for good.
    HidesLostLeases,
    /// Acknowledges without doing so.
    DropsAcks,
    /// Answers a receive that should wait at once.
    DoesNotWait,
    /// Never gives a message up.
    RetriesForEver,
    /// Hands out a message when it is only peeked at.
    ConsumesWhenPeeking,
    /// Takes more messages than a group may hold.
    IgnoresMaxLength,
    /// Takes another spec of a group for the same.
    AcceptsAnySpec,
    /// Hands out from a paused group.
    IgnoresPauses,
    /// Does not tell a listener what it missed.
    HidesGaps,
    /// Tells a listener everything, whatever its pattern.
    IgnoresPatterns,
    /// Opens every handle in one namespace.
    SharesNamespaces,
    /// Reports a limit that it does not have.
    Overclaims,
    /// Does not notice that it was closed.
    StaysOpen,
    /// Counts a repeated put of one holder again.
    CountsRepeatedHolders,
    /// Does not let go when a holder releases.
    IgnoresReleases,
    /// Collects what is held.
    CollectsHeldContent,
    /// Reads ranges one byte off.
    ShiftsRanges,
    /// Takes the next writer for the first, whatever the precondition.
    IgnoresPreconditions,
    /// Applies what it can of a transaction that fails.
    AppliesHalf,
    /// Applies a repeated op_id again.
    IgnoresOpIds,
    /// Lets versions of a forgotten key begin at 1 again.
    RestartsVersions,
    /// Tells only the first of several conflicts.
    HidesConflicts,
    /// Says that it pruned and keeps everything.
    IgnoresPrunes,
    /// Lists deleted records as well.
    ListsTombstones,
    /// Tells a reader of the change log less than there is.
    SkipsChanges,
    /// Takes a lost cursor for the end of the log.
    HidesLostCursors,
    /// Trims what followers have not read.
    TrimsPastFollowers,
    /// Commits writes without their messages.
    LosesOutboxMessages,
    /// Lets two relays work at the same time.
    SharesOutboxLeases,
    /// Puts the first task of a push on top.
    ReversesPushes,
    /// Takes subtasks for tasks of their own.
    ForgetsParents,
    /// Resumes a parent without what became of its children.
    DropsOutcomes,
    /// Counts every attempt of a task as the first.
    ForgetsTaskAttempts,
    /// Completes a task and gives it out again.
    ReplaysCompletedTasks,
    /// Takes any settle of a task for good.
    HidesLostTaskLeases,
    /// Says that a task is cancelled and lets it be.
    IgnoresCancels,
}

/// Each fault, and cases that must tell.
pub(crate) const FAULTS: &[(Fault, &[&str])] = &[
    (
        Fault::LosesMessages,
        &[
            "consumer::competing::with_many_producers_and_consumers_none_is_lost_or_doubled",
            "consumer::competing::each_message_reaches_one_member_of_each_group",
        ],
    ),
    (
        Fault::DoublesMessages,
        &[
            "consumer::competing::with_many_producers_and_consumers_none_is_lost_or_doubled",
            "producer::idempotency::a_repeated_id_is_accepted_once",
        ],
    ),
    (
        Fault::IgnoresIdempotencyKeys,
        &[
            "producer::idempotency::a_repeated_key_answers_the_first_id",
            "producer::idempotency::a_repeat_with_other_content_is_a_conflict",
            "producer::idempotency::of_racing_repeats_one_is_accepted",
        ],
    ),
    (
        Fault::IgnoresPriorities,
        &["consumer::order::the_higher_priority_comes_first"],
    ),
    (
        Fault::IgnoresOrderingKeys,
        &[
            "consumer::keys::a_leased_head_blocks_only_its_key",
            "consumer::keys::a_retry_blocks_only_its_key",
            "consumer::keys::the_order_of_a_key_holds_under_many_consumers",
        ],
    ),
    (
        Fault::IgnoresDelays,
        &["producer::delay::a_delayed_message_comes_when_it_is_due_and_not_before"],
    ),
    (
        Fault::IgnoresExpiry,
        &["consumer::expiry::an_expired_message_is_not_handed_out"],
    ),
    (
        Fault::ReversesBatches,
        &["consumer::order::one_receive_hands_them_out_in_the_order_sent"],
    ),
    (
        Fault::ForgetsAttempts,
        &[
            "consumer::leases::attempts_count_from_one",
            "consumer::leases::what_is_not_settled_comes_back_after_its_lease",
        ],
    ),
    (
        Fault::HidesLostLeases,
        &[
            "consumer::leases::a_settle_after_the_lease_is_lost_and_changes_nothing",
            "consumer::leases::a_stale_token_cannot_settle_the_next_delivery",
        ],
    ),
    (
        Fault::DropsAcks,
        &["consumer::settling::what_is_acknowledged_never_comes_back"],
    ),
    (
        Fault::DoesNotWait,
        &[
            "consumer::waiting::none_in_time_is_ok_and_empty",
            "consumer::waiting::a_waiting_call_is_woken_by_a_send",
        ],
    ),
    (
        Fault::RetriesForEver,
        &["consumer::dead_letters::after_its_deliveries_a_message_does_not_come_back"],
    ),
    (
        Fault::ConsumesWhenPeeking,
        &["consumer::admin::peeking_changes_neither_order_nor_attempts"],
    ),
    (
        Fault::IgnoresMaxLength,
        &[
            "producer::admission::a_full_group_makes_a_send_wait_then_refuses_it",
            "producer::admission::a_full_group_drops_its_oldest",
        ],
    ),
    (
        Fault::AcceptsAnySpec,
        &["consumer::groups::declaring_another_spec_is_a_conflict_that_names_the_field"],
    ),
    (
        Fault::IgnoresPauses,
        &["consumer::admin::a_paused_group_keeps_everything_and_hands_out_nothing"],
    ),
    (
        Fault::HidesGaps,
        &["consumer::broadcast::what_a_slow_listener_misses_shows_as_a_gap"],
    ),
    (
        Fault::IgnoresPatterns,
        &["consumer::broadcast::it_hears_every_message_that_matches"],
    ),
    (
        Fault::SharesNamespaces,
        &[
            "consumer::lifetime::namespaces_see_nothing_of_each_other",
            "references::lifetime::namespaces_see_nothing_of_each_other",
        ],
    ),
    (
        Fault::Overclaims,
        &["capabilities::the_producer_is_as_expected"],
    ),
    (
        Fault::StaysOpen,
        &["consumer::lifetime::after_closing_a_producer_is_closed"],
    ),
    (
        Fault::CountsRepeatedHolders,
        &["references::holders::a_repeated_put_of_a_holder_counts_once"],
    ),
    (
        Fault::IgnoresReleases,
        &["references::holders::content_that_all_released_is_collected"],
    ),
    (
        Fault::CollectsHeldContent,
        &["references::holders::held_content_is_not_collected"],
    ),
    (
        Fault::ShiftsRanges,
        &["references::ranges::a_range_is_that_part_of_the_content"],
    ),
    (
        Fault::IgnoresPreconditions,
        &[
            "state::preconditions::absent_fails_for_a_live_record",
            "state::races::of_racing_writers_under_a_version_one_wins",
            "state::races::of_racing_creators_one_wins",
            "state::agrees_with_the_model",
        ],
    ),
    (
        Fault::AppliesHalf,
        &["state::transactions::a_failed_write_refuses_the_whole"],
    ),
    (
        Fault::IgnoresOpIds,
        &["state::op_ids::a_repeat_answers_the_first_result"],
    ),
    (
        Fault::RestartsVersions,
        &[
            "state::prune::versions_never_come_twice_after_a_key_is_forgotten",
            "state::prune::new_keys_start_above_the_floor",
        ],
    ),
    (
        Fault::HidesConflicts,
        &["state::preconditions::a_conflict_names_every_failed_write"],
    ),
    (
        Fault::IgnoresPrunes,
        &[
            "state::prune::keep_last_keeps_the_newest_versions",
            "state::prune::a_pruned_version_reads_as_pruned",
        ],
    ),
    (
        Fault::ListsTombstones,
        &["state::listing::tombstones_are_listed_only_if_asked"],
    ),
    (
        Fault::SkipsChanges,
        &[
            "changes::log::every_write_is_a_change_in_order",
            "changes::racing::a_reader_beside_many_writers_misses_nothing",
        ],
    ),
    (
        Fault::HidesLostCursors,
        &[
            "changes::cursors::a_trimmed_cursor_is_lost",
            "changes::cursors::a_cursor_of_another_namespace_is_lost",
        ],
    ),
    (
        Fault::TrimsPastFollowers,
        &["changes::followers::a_follower_holds_back_trimming"],
    ),
    (
        Fault::LosesOutboxMessages,
        &["outbox::order::entries_come_in_the_order_of_their_commits"],
    ),
    (
        Fault::SharesOutboxLeases,
        &["outbox::leases::while_one_owner_holds_it_no_other_gets_it"],
    ),
    (
        Fault::ReversesPushes,
        &["tasks::claiming::the_last_of_a_push_is_the_newest"],
    ),
    (
        Fault::ForgetsParents,
        &["tasks::nesting::a_push_with_a_parent_suspends_it"],
    ),
    (
        Fault::DropsOutcomes,
        &[
            "tasks::outcomes::outcomes_come_in_the_order_pushed",
            "tasks::agrees_with_the_model",
        ],
    ),
    (
        Fault::ForgetsTaskAttempts,
        &["tasks::retries::attempts_count_from_one"],
    ),
    (
        Fault::ReplaysCompletedTasks,
        &[
            "tasks::settling::a_completed_task_never_runs_again",
            "tasks::racing::of_racing_workers_one_gets_each_task",
        ],
    ),
    (
        Fault::HidesLostTaskLeases,
        &[
            "tasks::leases::a_token_is_stale_when_another_has_the_task",
            "tasks::leases::a_token_is_stale_after_the_end_of_its_lease",
        ],
    ),
    (
        Fault::IgnoresCancels,
        &["tasks::cancelling::a_cancelled_task_is_not_claimed"],
    ),
];
