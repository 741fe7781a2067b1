// Package datafile writes and reads the lake's data files: rows to Parquet bytes
// with statistics, and Parquet to Arrow records without row structs in between.
//
// A file is written in one piece in memory (Encode, Writer, Fold) and is
// immutable from then on. Opening a file reads its footer and page indexes once;
// a File is safe for concurrent use. Read streams records of bounded size, Gather
// fetches single rows by position and touches only the pages that hold them,
// Prune tells from statistics which rows can match a predicate.
//
// Both directions work at the level of Parquet's pages. The writer cuts pages at
// row boundaries by size and writes an offset index, so that one row costs one
// small page per column. The reader turns the pages' repetition and definition
// levels and values into Arrow buffers. It reads what other engines write, too:
// version 2 pages, dictionaries, files without page indexes, and the list and
// map layouts of older writers.
//
// Stored bytes are not trusted. A damaged file gives fault.Corrupt with the name
// of the object; no input makes the package panic or allocate more than the
// file's own size figures, checked against each other, allow.
package datafile
