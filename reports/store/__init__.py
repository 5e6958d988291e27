"""The run folder's tables: schemas, Parquet files, storage."""
