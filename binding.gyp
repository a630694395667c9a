# One static library per instruction set, each with its own flags, so that no function compiled for a newer CPU can be
# picked by the linker for code that runs everywhere. Node-API 8: one binary for Node 20 and later.
{
  "variables": {
    "openssl_fips": "",
    "warnings": ["-Wall", "-Wextra", "-Werror", "-Wno-ignored-optimization-argument"],
    # The order written in the source is better than gcc's scheduler: 9 % on the kernels.
    "kernel_flags": ["-fno-schedule-insns2", "-fno-tree-ter", "-fno-tree-reassoc"]
  },
  "target_defaults": {
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-std=c++17"],
    "cflags_cc": ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "<@(warnings)"],
    "include_dirs": ["native"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "OTHER_CPLUSPLUSFLAGS": ["-O3", "<@(warnings)"]
    },
    "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/std:c++20"] } }
  },
  "targets": [
    {
      "target_name": "gcm",
      "type": "static_library",
      "sources": [
        "native/gcm/gcm.cpp",
        "native/gcm/kernels.cpp",
        "native/gcm/cpu.cpp",
        "native/gcm/self_test.cpp",
        "native/gcm/kernel_openssl.cpp"
      ]
    },
    {
      "target_name": "frameseal",
      "defines": ["NAPI_VERSION=8"],
      "sources": [
        "native/addon.cpp",
        "native/aead_key.cpp",
        "native/crew.cpp",
        "native/file_lock.cpp",
        "native/frame_run.cpp",
        "native/hash_thread.cpp",
        "native/message_digest.cpp",
        "native/message_hash.cpp",
        "native/parallel_run.cpp",
        "native/pump.cpp",
        "native/pump_task.cpp",
        "native/segment.cpp",
        "native/thread.cpp"
      ],
      "dependencies": ["gcm"],
      "conditions": [
        ["target_arch=='x64'", { "dependencies": ["gcm_vaes512", "gcm_vaes256", "gcm_aesni"] }],
        ["target_arch=='arm64'", { "dependencies": ["gcm_armv8"] }],
        ["OS=='linux'", {
          "ldflags": ["-pthread", "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,--version-script=<(module_root_dir)/native/exports.map"]
        }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "gcm_vaes512",
          "type": "static_library",
          "sources": ["native/gcm/kernel_vaes512.cpp"],
          "cflags_cc": [
            "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mvaes", "-mvpclmulqdq", "-maes", "-mpclmul",
            "-mbmi2", "<@(kernel_flags)",
            # gcc 12 warns about its own avx512fintrin.h (gcc bug 105593).
            "-Wno-uninitialized", "-Wno-maybe-uninitialized"
          ]
        },
        {
          "target_name": "gcm_vaes256",
          "type": "static_library",
          "sources": ["native/gcm/kernel_vaes256.cpp"],
          "cflags_cc": ["-mavx2", "-mvaes", "-mvpclmulqdq", "-maes", "-mpclmul", "<@(kernel_flags)"]
        },
        {
          "target_name": "gcm_aesni",
          "type": "static_library",
          "sources": ["native/gcm/kernel_aesni.cpp"],
          "cflags_cc": ["-msse4.1", "-mssse3", "-maes", "-mpclmul", "<@(kernel_flags)"]
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "gcm_armv8",
          "type": "static_library",
          "sources": ["native/gcm/kernel_armv8.cpp"],
          "cflags_cc": ["-march=armv8-a+crypto", "<@(kernel_flags)"]
        }
      ]
    }]
  ]
}
