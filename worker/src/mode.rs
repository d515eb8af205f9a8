//! The mode of a session: how many messages it may hold unsettled at the same time.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As many messages and batch processors as the settings allow.
    Full,
    /// One message at a time, as a probe of the store or of a suspected message.
    Isolated,
}

impl Mode {
    pub fn is_isolated(self) -> bool {
        self == Self::Isolated
    }
}
