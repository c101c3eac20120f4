// subgroup8: for subgroups of exactly 8 lanes, each of which has loaded a row's next four values.
//   A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each, and
//   broadcast: a quarter of the loads of the plain kernels. For that no lane may leave early.

// Those of lanes 0 .. 3.
fn first_rows(value: vec4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(value, 0u),
    subgroupBroadcast(value, 1u),
    subgroupBroadcast(value, 2u),
    subgroupBroadcast(value, 3u),
  );
}

// Those of lanes 4 .. 7.
fn last_rows(value: vec4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(value, 4u),
    subgroupBroadcast(value, 5u),
    subgroupBroadcast(value, 6u),
    subgroupBroadcast(value, 7u),
  );
}
