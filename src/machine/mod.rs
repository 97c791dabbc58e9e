//! How the machine does: its voltage, its heat, and whether its processor is slowed down because of them.
//!
//! - [`Sysfs`] reads what the kernel says below `/sys`.
//! - ● [`Judge`] tells from it what is the case, and what is worth telling.

mod judgement;
mod readings;
mod sysfs;

pub use self::judgement::{Condition, Judge, Machine, Notice};
pub use self::readings::{Clock, Flag, Flags, Limit, LimitKind, Readings, Zone};
pub use self::sysfs::{SYS, Sysfs};
