//! The names under which a run is stored.

use statehouse_contracts::{
    Holder, Kind, OpId, Result, StackName, StateKey, TaskId, Topic, escape_word,
};

/// The names of one run, or of one copy of it when several agents replay it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The run's id; with a suffix for the second copy and later ones.
    pub(super) id: String,
}

impl Names {
    /// The longest id of a copy, so that it is also the name of a stack.
    const LONGEST: usize = 80;

    pub(super) fn of(run: &str, copy: u32) -> Self {
        let suffix = if copy == 0 {
            String::new()
        } else {
            format!("-x{copy}")
        };
        let kept = run.len().min(Self::LONGEST - suffix.len());
        // Cut in front, where the file's name is: the end of the id is its hash.
        Self {
            id: format!("{}{suffix}", &run[run.len() - kept..]),
        }
    }

    pub(super) fn agent(&self) -> Result<StateKey> {
        StateKey::parse("agent", &self.id)
    }

    pub(super) fn task(&self) -> Result<StateKey> {
        StateKey::parse("task", &self.id)
    }

    pub(super) fn conversation(&self) -> Result<StateKey> {
        StateKey::parse("conversation", &self.id)
    }

    pub(super) fn stack(&self) -> Result<StackName> {
        StackName::new(&self.id)
    }

    pub(super) fn root_task(&self, attempt: u32) -> Result<TaskId> {
        let again = if attempt == 0 {
            String::new()
        } else {
            format!("#{attempt}")
        };
        TaskId::new(format!("{}{again}", self.id))
    }

    pub(super) fn subtask(&self, root: &TaskId, index: usize) -> Result<TaskId> {
        TaskId::new(format!("{root}/{index}"))
    }

    pub(super) fn holder(&self, step: usize) -> Result<Holder> {
        Holder::new(format!("replay:{}:{step}", self.id))
    }

    pub(super) fn op_id(&self, what: &str, index: usize) -> Result<OpId> {
        OpId::new(format!("replay:{}:{what}:{index}", self.id))
    }

    pub(super) fn step_topic(&self) -> Result<Topic> {
        Topic::new(format!("agents.{}.step", escape_word(&self.id)))
    }

    pub(super) fn task_kind() -> Result<Kind> {
        Kind::new("replay")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_valid_names_of_their_own() {
        let long = format!("{}-{}", "x".repeat(60), "0123456789abcdef");
        let all: Vec<String> = (0..3).map(|copy| Names::of(&long, copy).id).collect();
        assert!(all[0] != all[1] && all[1] != all[2]);
        for id in all.iter().chain([&Names::of(&long, 9999).id]) {
            let names = Names { id: id.clone() };
            assert!(
                names.stack().is_ok() && names.task().is_ok() && names.step_topic().is_ok(),
                "{id}"
            );
            assert!(id.contains("0123456789abcdef"));
        }
    }
}
