use crate::{Namespace, Principal, Result};

/// For whom a handle acts: one namespace, one principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What the handle sees.
    pub namespace: Namespace,
    /// Who acts; becomes `created_by` and `updated_by`.
    pub principal: Principal,
}

impl Scope {
    /// A scope of validated names.
    pub fn new(namespace: Namespace, principal: Principal) -> Self {
        Self {
            namespace,
            principal,
        }
    }

    /// A scope from text.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when a name is not valid.
    pub fn parse(namespace: &str, principal: &str) -> Result<Self> {
        Ok(Self::new(
            Namespace::new(namespace)?,
            Principal::new(principal)?,
        ))
    }
}
