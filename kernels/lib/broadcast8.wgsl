// broadcast8: what the lanes of a subgroup of 8 have loaded, one value each, for all of them. A kernel that imports it
//   says `enable subgroups;`, and none of its lanes may have left.

// The value of each lane.
@diagnostic(off, subgroup_uniformity) fn of_all_lanes(x: vec4f) -> array<vec4f, 8> {
  return array<vec4f, 8>(
    subgroupBroadcast(x, 0u),
    subgroupBroadcast(x, 1u),
    subgroupBroadcast(x, 2u),
    subgroupBroadcast(x, 3u),
    subgroupBroadcast(x, 4u),
    subgroupBroadcast(x, 5u),
    subgroupBroadcast(x, 6u),
    subgroupBroadcast(x, 7u),
  );
}
