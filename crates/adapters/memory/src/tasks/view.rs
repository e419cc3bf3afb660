//! Looking at tasks.

use std::collections::BTreeSet;

use statehouse_contracts::{Page, Result, StackDepth, StackName, Task, TaskId, TaskQuery};

use crate::page::{self, MAX_SCAN};
use crate::tasks::entry::Entry;
use crate::tasks::stacks::Tasks;

impl Tasks {
    pub(crate) fn get(&self, id: &TaskId) -> Option<Task> {
        let place = self.ids.get(id)?;
        self.tasks.get(place).map(|entry| entry.show())
    }

    pub(crate) fn peek(&self, stack: &StackName, max: usize) -> Vec<Task> {
        let ready = self
            .stacks
            .get(stack)
            .into_iter()
            .flat_map(|stack| stack.ready.iter().rev());
        let tasks = ready.filter_map(|place| self.tasks.get(place));
        tasks.take(max).map(|entry| entry.show()).collect()
    }

    pub(crate) fn depth(&self, stack: &StackName) -> StackDepth {
        self.stacks
            .get(stack)
            .map(|stack| stack.depth)
            .unwrap_or_default()
    }

    pub(crate) fn stack_names(&self) -> Vec<StackName> {
        let busy = self.stacks.iter().filter(|(_, stack)| !stack.is_idle());
        busy.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn list(&self, query: &TaskQuery) -> Result<Page<Task>> {
        let before = match &query.after {
            Some(cursor) => page::last_number("tasks", cursor)?,
            None => u64::MAX,
        };
        let size = page::size(query.limit);
        let mut items = Vec::new();
        let mut last = None;
        for (scanned, place) in self.places_below(query, before).enumerate() {
            if items.len() == size || scanned == MAX_SCAN {
                let next = last.map(|last: u64| page::cursor("tasks", &last.to_string()));
                return Ok(Page { items, next });
            }
            last = Some(place);
            let entry = self.tasks.get(&place);
            items.extend(
                entry
                    .filter(|entry| wanted(query, entry))
                    .map(|entry| entry.show()),
            );
        }
        Ok(Page { items, next: None })
    }

    /// The places to look at, newest first, by the narrowest index there is.
    fn places_below(&self, query: &TaskQuery, before: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        static NONE: BTreeSet<u64> = BTreeSet::new();
        if let Some(parent) = &query.parent {
            let parent = self.ids.get(parent).and_then(|place| self.tasks.get(place));
            let children = parent
                .into_iter()
                .flat_map(|parent| parent.children.iter().rev());
            return Box::new(children.copied().filter(move |place| *place < before));
        }
        match &query.stack {
            Some(stack) => {
                let all = self.stacks.get(stack).map_or(&NONE, |stack| &stack.all);
                Box::new(all.range(..before).rev().copied())
            }
            None => Box::new(self.tasks.range(..before).rev().map(|(place, _)| *place)),
        }
    }
}

fn wanted(query: &TaskQuery, entry: &Entry) -> bool {
    query
        .stack
        .as_ref()
        .is_none_or(|stack| entry.stack == *stack)
        && query.state.is_none_or(|state| entry.state() == state)
}
