// blocks: where a row's tokens lie in pools of blocks of 2^block_shift tokens.
//   Token t of a row is in its block number place / B at place % B, place = table[row, 0] + t; its blocks are
//   table[row, 1 ..] in order. table[row, 0] is negative where the row holds nothing
@group(0) @binding(1) var<storage, read> table: array<i32>;  // [R, columns]

// Where a place lies in the pools, counted in tokens.
// @param entry  where its row begins in the table
fn slot_at(entry: u32, place: u32, block_shift: u32) -> u32 {
  let block = u32(table[entry + 1u + (place >> block_shift)]);
  return (block << block_shift) + (place & ((1u << block_shift) - 1u));
}

// Where a token lies in the pools; negative where row or position are, the row holds nothing, or its blocks end before.
fn slot_of(row: i32, position: i32, columns: u32, block_shift: u32) -> i32 {
  if (row < 0 || position < 0) { return -1; }
  let entry = u32(row) * columns;
  if (table[entry] < 0) { return -1; }
  let place = u32(table[entry] + position);
  let column = 1u + (place >> block_shift);
  if (column >= columns) { return -1; }
  return i32(slot_at(entry, place, block_shift));
}
