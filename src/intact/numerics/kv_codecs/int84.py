"""Keys with 8 bits and values with 4, for models whose keys lose too much precision at 4 bits."""

from intact.numerics.kv_codecs.definition import KvCodec

INT84 = KvCodec("int84", "keys of 8 bits, values of 4, rotated", key_bits=8, value_bits=4)
