//! Every comparison runs, with a few operations each.

use statehouse_benches::{
    scenarios::{self, NAMES, Settings},
    table::Section,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_measures_something() {
    let settings = Settings::smoke();
    let sections = scenarios::run(&NAMES, &settings, |_| {}).await.unwrap();
    assert_eq!(sections.len(), NAMES.len());
    for row in sections.iter().flat_map(|section: &Section| &section.rows) {
        assert!(row.ours.median > 0.0, "{row:?}");
        if let Some((_, other)) = &row.other {
            assert!(other.median > 0.0, "{row:?}");
        }
    }
}
