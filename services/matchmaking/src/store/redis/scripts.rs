//! The scripts. Each has its keys, arguments and answer in its head.

use mingle_store::redis::Script;

/// Of the queue, whose keys are made of one.
macro_rules! script {
    ($verb:literal: $($file:literal),*) => {
        Script::new($verb, concat!($(include_str!(concat!("../../../lua/", $file, ".lua"))),*))
            .derives_keys()
    };
}

pub(super) static ENQUEUE: Script = script!("enqueue": "queue", "propose", "enqueue");
pub(super) static PUT: Script = script!("put": "queue", "put");
pub(super) static REMOVE: Script = script!("remove": "queue", "remove");
pub(super) static ALIVE: Script = script!("alive": "queue", "alive");
pub(super) static LEFTOVERS: Script = script!("leftovers": "queue", "propose", "leftovers");
pub(super) static SILENT: Script = script!("silent": "queue", "silent");
pub(super) static RECONCILE: Script = script!("reconcile": "queue", "reconcile");
pub(super) static LEN: Script = Script::new("len", include_str!("../../../lua/len.lua"));
pub(super) static LEAD: Script = Script::new("lead", include_str!("../../../lua/lead.lua"));
