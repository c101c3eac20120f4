// subgroup8: products of rows that the 8 lanes of a subgroup have loaded, each the next four values of one.
//   A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each, and
//   broadcast: a quarter of the loads of the plain kernels. For that no lane may leave early.
import package::lib::linear_layer::add_terms;

// What a lane makes of the eight rows: four columns of rows 0 .. 3 and of 4 .. 7.
alias EightRows = array<mat4x4f, 2>;

// Four terms of each sum: the values v of the lanes, times what the lane's columns have there.
fn add_rows(sums: ptr<function, EightRows>, v: vec4f, terms: mat4x4f) {
  let near = mat4x4f(
    subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
  );
  let far = mat4x4f(
    subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u),
  );
  (*sums)[0] = add_terms((*sums)[0], near, terms);
  (*sums)[1] = add_terms((*sums)[1], far, terms);
}
