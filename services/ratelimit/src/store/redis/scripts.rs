//! The scripts. Each has its keys, arguments and answer in its head.

use mingle_store::redis::Script;

pub(super) static CHECK: Script = Script::new(
    "check",
    concat!(include_str!("../../../lua/count.lua"), include_str!("../../../lua/check.lua")),
);
pub(super) static REFUND: Script = Script::new(
    "refund",
    concat!(include_str!("../../../lua/count.lua"), include_str!("../../../lua/refund.lua")),
);
pub(super) static RESET: Script = Script::new(
    "reset",
    concat!(include_str!("../../../lua/count.lua"), include_str!("../../../lua/reset.lua")),
);
pub(super) static SLICE: Script = Script::new(
    "slice",
    concat!(include_str!("../../../lua/count.lua"), include_str!("../../../lua/slice.lua")),
);
pub(super) static UNUSED: Script = Script::new(
    "unused",
    concat!(include_str!("../../../lua/count.lua"), include_str!("../../../lua/unused.lua")),
);
pub(super) static BEAT: Script = Script::new("beat", include_str!("../../../lua/beat.lua"));
