//! Threads that survive a fork: pools are kept per process id and thread count.
//!
//! rayon's global pool hangs in a forked child (its threads do not exist there), so nothing in this
//! crate may use it; every parallel section goes through [`run`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::error::{Error, Result};

type Pools = Mutex<HashMap<(u32, usize), Arc<rayon::ThreadPool>>>;

static POOLS: OnceLock<Pools> = OnceLock::new();

/// Run `job` on a pool of `num_threads` threads of this process; one thread means the caller's own.
///
/// # Errors
/// `Error::Config` when the threads cannot be started.
pub fn run<T: Send>(num_threads: usize, job: impl FnOnce() -> T + Send) -> Result<T> {
    let key = (std::process::id(), num_threads.max(1));
    let pool = {
        let mut pools = match POOLS.get_or_init(Mutex::default).lock() {
            Ok(pools) => pools,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(pool) = pools.get(&key) {
            Arc::clone(pool)
        } else {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(key.1)
                .build()
                .map_err(|error| Error::Config(format!("cannot start {} threads: {error}", key.1)))?;
            let pool = Arc::new(pool);
            pools.insert(key, Arc::clone(&pool));
            pool
        }
    };
    Ok(pool.install(job))
}
