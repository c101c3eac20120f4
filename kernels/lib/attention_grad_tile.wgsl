// attention_grad_tile: four queries against four keys.
import package::lib::attention::{k, params, q, v};
import package::lib::attention_grad::d_o;

// By query, then by key: four partial sums each.
struct Products {
  dots: array<mat4x4f, 4>,   // q.k
  pulls: array<mat4x4f, 4>,  // do.v
}

// @param query_bases, key_bases  where their vectors begin
fn products(query_bases: vec4u, key_bases: vec4u) -> Products {
  var made = Products();
  for (var c = 0u; c < params.vectors; c++) {
    var key: mat4x4f;
    var value: mat4x4f;
    for (var n = 0u; n < 4u; n++) {
      key[n] = k[key_bases[n] + c];
      value[n] = v[key_bases[n] + c];
    }
    for (var r = 0u; r < 4u; r++) {
      let query = q[query_bases[r] + c];
      let upstream = d_o[query_bases[r] + c];
      for (var n = 0u; n < 4u; n++) {
        made.dots[r][n] = fma(query, key[n], made.dots[r][n]);
        made.pulls[r][n] = fma(upstream, value[n], made.pulls[r][n]);
      }
    }
  }
  return made;
}
