// grid: where a lane stands in a dispatch.
//   A grid of more than 65535 workgroups is folded over x and y (src/gpu/grids.ts); numbers count it through.
override WG: u32;  // lanes of a workgroup: whoever dispatches says

struct Place {
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
}

fn workgroup_number(place: Place) -> u32 {
  return place.group.x + place.group.y * place.groups.x;
}

fn lane_number(place: Place) -> u32 {
  return workgroup_number(place) * WG + place.lane;
}

// Of a kernel with barriers or subgroup operations, which takes its lane beside it: a compiler holds a struct with the
// lane in it to differ from lane to lane, and allows none of these behind a test of it.
struct Fold {
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
}

fn group_number(fold: Fold) -> u32 {
  return fold.group.x + fold.group.y * fold.groups.x;
}
