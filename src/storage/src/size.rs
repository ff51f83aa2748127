//! Bytes on disk, and giving back those of what was removed.

use rocksdb::{BottommostLevelCompaction, CompactOptions, properties};

use crate::{Result, Store, table::Family};

impl Store {
    /// The bytes that each family takes on disk, without the write-ahead log and what is still in memory.
    pub fn bytes_on_disk(&self) -> Result<Vec<(Family, u64)>> {
        let engine = &self.pipeline.engine;
        Family::ALL
            .into_iter()
            .map(|family| {
                let property = properties::TOTAL_SST_FILES_SIZE;
                let bytes = engine
                    .db
                    .property_int_value_cf(engine.family(family), property)?;
                Ok((family, bytes.unwrap_or(0)))
            })
            .collect()
    }

    /// Rewrites everything once, so that removed rows give their bytes back. Takes long and reads and writes the
    /// whole store; readers and writers go on meanwhile.
    pub fn compact(&self) -> Result<()> {
        let engine = &self.pipeline.engine;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for family in Family::ALL {
            let family = engine.family(family);
            engine.db.flush_cf(family)?;
            engine
                .db
                .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }
}
