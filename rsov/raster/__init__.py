"""Pictures in, maps out: everything that touches a raster file.

Importing this package prepares the GDAL environment; it must come before rasterio and fiona.
"""

from rsov.raster.env import prepare_gdal

prepare_gdal()
