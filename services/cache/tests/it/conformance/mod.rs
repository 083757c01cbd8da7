//! What every store must do. A backend runs all of it by one line:
//! `suite!(name)`, where the function `name` opens an empty world.

pub(crate) mod leases;
pub(crate) mod tags;
pub(crate) mod values;

macro_rules! suite {
    ($backend:ident) => {
        mod $backend {
            $crate::conformance::suite!(
                $backend: values: fresh_stale_and_gone, the_last_set_wins, in_whose_place,
                deleted, touched, everything_comes_back, several_at_once
            );
            $crate::conformance::suite!(
                $backend: leases: one_loads, the_lease_of_a_dead_loader_passes_on,
                who_is_stale_is_served, voided_by_set_and_delete, filled_twice, due_early,
                a_failed_load_serves_on, absence_that_is_not_kept, crowd
            );
            $crate::conformance::suite!(
                $backend: tags: versions_stay_until_they_are_renewed, captured_by_the_lease,
                what_is_void_is_loaded
            );
        }
    };
    ($backend:ident: $topic:ident: $($body:ident),* $(,)?) => {
        mod $topic {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $body() {
                    let world = super::super::$backend().await;
                    $crate::conformance::$topic::$body(world).await;
                }
            )*
        }
    };
}

pub(crate) use suite;
