//! The scripts. Each has its keys, arguments and answer in its head.

use mingle_store::redis::Script;

macro_rules! over_kept {
    ($name:literal, $file:literal) => {
        Script::new($name, concat!(include_str!("../../../lua/kept.lua"), include_str!($file)))
    };
}

pub(super) static LOOK: Script = over_kept!("look", "../../../lua/look.lua");
pub(super) static PUT: Script = over_kept!("put", "../../../lua/put.lua");
pub(super) static FILL: Script = over_kept!("fill", "../../../lua/fill.lua");
pub(super) static TOUCH: Script = over_kept!("touch", "../../../lua/touch.lua");
pub(super) static VERSION: Script =
    Script::new("version", include_str!("../../../lua/version.lua"));
