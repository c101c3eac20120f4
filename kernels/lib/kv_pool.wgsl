// kv_pool: the pools that keys and values of new tokens are kept in, in FORMAT.
import package::lib::pack::pack2_clamped;
import package::lib::weight::FORMAT;

@group(0) @binding(2) var<storage, read_write> k_pool: array<u32>;
@group(0) @binding(3) var<storage, read_write> v_pool: array<u32>;

// Keeps values 2*pair and 2*pair + 1 of both.
fn keep(pair: u32, key: vec2f, value: vec2f) {
  if (FORMAT == 0u) {
    k_pool[2u * pair] = bitcast<u32>(key.x);
    k_pool[2u * pair + 1u] = bitcast<u32>(key.y);
    v_pool[2u * pair] = bitcast<u32>(value.x);
    v_pool[2u * pair + 1u] = bitcast<u32>(value.y);
  } else {
    k_pool[pair] = pack2_clamped(key);
    v_pool[pair] = pack2_clamped(value);
  }
}
