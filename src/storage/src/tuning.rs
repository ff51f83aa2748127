//! RocksDB's options: those of the whole database, and those of each column family by what its
//! tables do. The reasons are in `docs/STORAGE.md`.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options as RocksOptions, SliceTransform, WriteBufferManager,
};

use crate::{Options, table::Family};

/// A prefix byte and a number of eight bytes: one room's or one user's rows of one table.
pub(crate) const PREFIX_BYTES: usize = 9;

const MIB: usize = 1 << 20;
/// Memtables take at most this part of the cache's bytes.
const MEMTABLE_SHARE: usize = 4;
/// Replaying this much log at a start takes about a second.
const MAX_WAL_BYTES: u64 = 128 << 20;
/// zstd's dictionary for bodies, and what it is trained on.
const DICTIONARY_BYTES: i32 = 16 << 10;
const TRAINING_BYTES: i32 = 100 * DICTIONARY_BYTES;
/// A file is compacted when this many of so many neighbouring entries are deletions.
const DELETIONS_WINDOW: (usize, usize) = (4096, 2048);

/// The options of the database and of its families. The default family holds nothing.
pub(crate) fn database(options: &Options) -> (RocksOptions, Vec<ColumnFamilyDescriptor>) {
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    let memtables = (options.cache_bytes / MEMTABLE_SHARE).max(16 * MIB);
    let mut database = RocksOptions::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
        memtables,
        false,
        cache.clone(),
    ));
    // What was synced is there, in order, or the store does not open.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    database.set_track_and_verify_wals_in_manifest(true);
    database.set_max_total_wal_size(MAX_WAL_BYTES);
    // The committer writes the log, before it syncs it and before anything of it is shown. A batch that wrote its
    // own record would wait, under the lock of all batches, for the sync that is under way: a file system does not
    // let a file grow while it brings the file's length to disk.
    database.set_manual_wal_flush(true);
    // Batches come one at a time, so a memtable need not expect two.
    database.set_allow_concurrent_memtable_write(false);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    database.set_max_background_jobs(i32::try_from(threads.clamp(2, 8)).unwrap_or(2));
    database.set_max_open_files(2048);
    database.set_bytes_per_sync(MIB as u64);
    database.set_skip_stats_update_on_db_open(true);
    // RocksDB's own log: kept small, and no statistics in it every ten minutes.
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(4 * MIB);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);

    let families = Family::ALL
        .iter()
        .map(|&family| ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache)))
        .collect();
    (database, families)
}

fn family_options(family: Family, cache: &Cache) -> RocksOptions {
    let mut options = RocksOptions::default();
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(write_buffer_bytes(family));
    options.set_arena_block_size(MIB / 4);
    options.set_max_write_buffer_number(4);
    if has_number_prefix(family) {
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(PREFIX_BYTES));
    }
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_whole_key_filtering(true);
    blocks.set_optimize_filters_for_memory(true);
    blocks.set_format_version(6);
    if family != Family::Log {
        // The log is only ever read in ranges that exist.
        blocks.set_bloom_filter(10.0, false);
    }
    blocks.set_block_size(block_bytes(family));
    options.set_block_based_table_factory(&blocks);
    compression(family, &mut options);
    if matches!(family, Family::Queue | Family::Log) {
        let (window, deletions) = DELETIONS_WINDOW;
        options.add_compact_on_deletion_collector_factory(window, deletions, 0.5);
    }
    options
}

/// Families whose keys begin with the number of a room or a user.
pub(crate) fn has_number_prefix(family: Family) -> bool {
    match family {
        Family::Body
        | Family::Head
        | Family::State
        | Family::Checkpoint
        | Family::Timeline
        | Family::User
        | Family::Queue => true,
        Family::Index | Family::Log | Family::Private => false,
    }
}

fn write_buffer_bytes(family: Family) -> usize {
    match family {
        Family::Body | Family::State | Family::Timeline => 32 * MIB,
        _ => 16 * MIB,
    }
}

fn block_bytes(family: Family) -> usize {
    match family {
        Family::Body | Family::Checkpoint => 16 << 10,
        Family::Log => 32 << 10,
        _ => 8 << 10,
    }
}

fn compression(family: Family, options: &mut RocksOptions) {
    match family {
        // Written once, many alike: a dictionary pays from the first level on.
        Family::Body => {
            options.set_compression_type(DBCompressionType::Zstd);
            options.set_compression_options(-14, 3, 0, DICTIONARY_BYTES);
            options.set_zstd_max_train_bytes(TRAINING_BYTES);
        }
        // Read and rewritten all the time: the upper levels stay as they are.
        Family::Head | Family::Queue | Family::Private => {
            options.set_compression_type(DBCompressionType::None);
            options.set_bottommost_compression_type(DBCompressionType::Lz4);
        }
        Family::Index
        | Family::State
        | Family::Checkpoint
        | Family::Log
        | Family::Timeline
        | Family::User => {
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
    }
}
