//! Messages: producers, groups and their consumers, broadcasts, administration.
