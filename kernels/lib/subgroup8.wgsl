// subgroup8: products of rows that the 8 lanes of a subgroup have loaded, each the next four values of one.
//   A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each, and
//   broadcast: a quarter of the loads of the plain kernels. For that no lane may leave early.
import package::lib::broadcast8::of_all_lanes;
import package::lib::linear_layer::add_terms;

// What a lane makes of the eight rows: four columns of rows 0 .. 3 and of 4 .. 7.
alias EightRows = array<mat4x4f, 2>;

// Four terms of each sum: the values v of the lanes, times what the lane's columns have there.
fn add_rows(sums: ptr<function, EightRows>, v: vec4f, terms: mat4x4f) {
  let rows = of_all_lanes(v);
  (*sums)[0] = add_terms((*sums)[0], mat4x4f(rows[0], rows[1], rows[2], rows[3]), terms);
  (*sums)[1] = add_terms((*sums)[1], mat4x4f(rows[4], rows[5], rows[6], rows[7]), terms);
}
